#!/bin/sh
# Keeps a libvirtd running below the folder $1 until standard input ends: because
# the program that holds its other end closes it, or because that program is dead.
# It is started again 0.2 s after it died, as systemd would, but not while the file
# "hold" is there. All of it runs under tini -s, to which the QEMU processes fall:
# libvirt takes a machine for off only once its process is reaped. At the end a folder
# that is $2 is removed.
dir=$1
(
	while [ ! -e "$dir/stop" ]; do
		[ -e "$dir/hold" ] || libvirtd >>"$dir/libvirtd.log" 2>&1 </dev/null
		sleep 0.2
	done
) &
loop=$!
read -r _
: >"$dir/stop"
# shellcheck disable=SC2046
kill -9 $(cat "/proc/$loop/task/$loop/children") 2>/dev/null
wait "$loop"
while left= && for p in $(cat "/proc/$PPID/task/$PPID/children"); do
	[ "$p" = $$ ] || left="$left $p"
done && [ -n "$left" ]; do
	# shellcheck disable=SC2086
	kill -9 $left 2>/dev/null
	sleep 0.05
done
[ "$2" = temporary ] && rm -rf "$dir"
exit 0
