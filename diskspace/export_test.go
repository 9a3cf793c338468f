package diskspace

var UnixUsage = unixUsage
