// Package libvirt is the driver of [virt.Host] for libvirt and QEMU, without cgo
// and without libvirt's own library: it speaks libvirt's protocol through
// github.com/digitalocean/go-libvirt. It works with libvirt 9.0 and QEMU 7.2, and
// needs nothing newer.
//
// Each call has a connection to itself while it lasts, so that one that takes long, as one
// for an agent that does not answer, holds up no other. Connections are kept for
// later calls. libvirt goes on with what it was asked when a connection is cut, so a
// call that returns [virt.ErrLost] may still take effect afterwards.
//
// # Guarantees
//
//   - A call returns soon after its context ends, also when libvirtd hangs, and is
//     then ErrLost and the context's error. The next call connects anew.
//   - A libvirtd that was killed is ErrLost, or not noticed at all; machines and
//     block jobs are found again as they are.
//   - A block job is Ready only when a pivot would succeed, also under load.
//   - When Pivot returns nil, the running machine, its lasting description and
//     QEMU all name the base.
//   - A machine stalled by a full disk is Stalled, an event tells of it, and its
//     overlay can be committed.
//   - The text of an error is libvirt's own, whatever sentinel it also is.
//   - Nothing runs after Close.
package libvirt
