// Package filter makes the rows that an observatory delivers from those that its
// instrument writes: elements chosen and turned, minutes made of seconds, values that
// cannot be set aside.
//
// A [Filter] is a series and some [Rule], applied in their order. Rules are values:
//
//   - [Choose] and [Rename]: which elements there are, in which order, by which names.
//   - [HDZ] and [HEZ]: the north and the east component, X and Y, from what a
//     variometer measures and its baselines.
//   - [Minutes]: minutes of seconds, by INTERMAGNET's Gaussian.
//   - [Range] and [Step]: values that cannot be are set aside.
//
// [Filter.Series] is what comes out, which is for the stream to say. Its level is that
// of the source: who adds baselines, and calls the result provisional, changes it there.
//
// # Numbers
//
// Results are rounded half away from zero to the decimals of their element. The Gaussian
// has integer weights, and angles are reduced as integers; what is left to floating
// point fuses no multiplication with an addition, and calls no function that a machine
// has its own way with.
//
// A value that is made of several is missing if one of them is, and not observed if one
// of them is not observed and none is missing. A result too great for a value is missing.
//
// # Guarantees
//
//   - The same rows make the same rows, on every machine; those given are not changed.
//   - A row is made from rows within Reach of it, and of no others.
//   - A minute that was made of a growing file is not changed by later rows.
//   - A constant passes through the Gaussian unchanged.
//   - A minute has a value if the weight of its samples is 90 % of all or more, and none
//     if it is less.
//   - A turn keeps the length of the horizontal component, up to the rounding.
//   - What is missing or not observed is never taken for a number.
//   - A value is set aside if it is out of its range, or a step from the last one that was
//     not set aside, and is counted under its rule.
//   - A step that is real is believed when it has lasted for Within.
//   - A rule that does not fit the series is an error of New that names it.
package filter
