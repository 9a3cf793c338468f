// Package obskeep is a map of the module; it has no code. The module keeps what
// an observatory measured: it copies each day's data off the machine that
// made it, images the virtual machines of the site, watches the space that this takes,
// and says by mail what was done and what was not. Each package can be imported alone.
//
//   - julian: days of the year (2026-268), patterns of day folders (%Y/%j),
//     Julian Date and MJD. Pure.
//   - transfer: files and trees between stores: mirror, resume, verify,
//     compare; the delta algorithm; checksum files.
//     transfer/dirstore is a local directory, transfer/sshstore another machine
//     over SSH; transfer/keep keeps day folders; transfer/storetest is the contract
//     of a store as a test suite; transfer/rsync is the rsync protocol.
//   - vmimage: images of virtual machines, and which of them stay. vmimage/virt is
//     what it asks of a host, virt/libvirt a host that libvirt runs, vmimage/plain
//     a folder of images, vmimage/disk reads disks, vmimage/fetch brings images
//     from another machine. For tests: vmimage/vmtest, virt/virttest, vmimage/testbed.
//   - diskspace: what is free, what fits, what may go, when it will be full.
//   - report: what a run did, as text, HTML and JSON; report/mailer sends it and
//     loses none.
//   - examples: a main for each script that this replaces. examples/backup
//     fetches day folders over SSH; examples/julianday prints days;
//     examples/rsyncserve serves one folder to rsync clients;
//     examples/cronbackupmachines images virtual machines, and examples/backupvms
//     fetches the images.
//
// Imports go down only: examples use everything, keep uses stores and pure
// packages, and julian, vmimage, diskspace, report and transfer themselves import
// the standard library, golang.org/x and each other.
package obskeep
