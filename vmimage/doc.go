// Package vmimage images the virtual machines of a host, and keeps the images.
//
// So far it holds what decides on the images that are stored: a [Policy] plans
// which of them stay and which may go. A plan is computed from a list of images
// alone: it reads no clock and removes nothing.
//
// # Guarantees
//
//   - A plan never removes the newest verified image of a machine, nor more than
//     leave Least of them, whatever the policy and however old they are.
//   - An image that is not verified takes no place of one that is.
//   - The same images give the same plan, in whatever order they come.
//   - After what a plan removes is gone, the same policy removes nothing more.
package vmimage
