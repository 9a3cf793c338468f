// Package testbed runs real virtual machines where there is neither KVM nor
// systemd nor a libvirtd of the system: a private libvirtd of its own, and guests
// so small that they boot in seconds under QEMU's own emulation. Tests use it, and
// so can a demonstration. It works on Linux on amd64, as root and as an ordinary
// user; elsewhere [Check] says so.
//
// A [Bed] is a folder with a libvirtd and its machines. A [Guest] is a machine
// on it, with disks, a serial console to run commands on, and an agent. Machines
// are started, shut down and looked at through libvirt, by whatever is being
// tested; this package makes them, and makes things go wrong: a daemon that hangs
// or dies, a machine that dies, a power cut.
//
// The daemon is one of a session: it runs as an ordinary user, as nobody if this
// process is root, and keeps all it has below the folder.
//
// # Guarantees
//
//   - Close returns once no process of the bed is left.
//   - If this process dies, however, its libvirtd and machines end too.
//   - The guest is built once, by whichever process comes first, in the folder that
//     OBSKEEP_GUEST_CACHE names, or in the user's cache.
//   - A power cut loses nothing that a guest had synced.
package testbed
