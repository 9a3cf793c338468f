package watch

var Watch = watch
