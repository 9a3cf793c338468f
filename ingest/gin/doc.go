// Package gin is the client of the web service through which observatories upload
// files to a Geomagnetic Information Node, a GIN of INTERMAGNET (Technical Note 9,
// Web Data Delivery, 2018).
//
// The service is a cache: it checks a file, gives it an id that only rises, and
// holds it until the GIN fetches it. [Client.Upload] offers a file,
// [Client.Search] lists what is held, and [Client.Download] has a file back.
//
// # Outcomes
//
// An upload that returns a [Receipt] is stored. Otherwise the type of the error
// says what to do:
//
//   - [*RefusedError]: the service will not have the file. Do not repeat it unchanged.
//   - [*LaterError]: it is not stored, and the fault is not the file's. Repeat it,
//     with growing pauses.
//   - [*ConfigError]: user or password are wrong, or may not do this. Ask a person.
//   - [*UnknownError]: it may be stored or not, for example because the connection
//     broke. Ask before it is repeated: [Client.Reconcile].
//
// The service refuses a file that it already has. So a refusal that follows an
// unknown outcome of the same file is a question for Reconcile, too.
//
// [Client.Verify] proves that a file arrived, as far as wanted: see [Level]. What
// has arrived here is not yet in the GIN's own store.
//
// # Guarantees
//
//   - A file counts as stored only if the whole first line of the reply is Success,
//     Information or Warning, and the reply has its id.
//   - An outcome that the service left open is an UnknownError, never a success or a failure.
//   - Nothing of a file was sent when the connection could not be made: that is a LaterError.
//   - Nothing of a file is sent before the server's question for credentials is known.
//   - Upload sends a file once, and again only to a server that asks for new credentials
//     instead of taking it.
//   - Reconcile finds a stored file, and says "not there" only of a file that no answer of
//     the service holds.
//   - Verify says that a file is missing only if the service answers so.
//   - A Sink says stored only of what the service says so of, or holds byte for byte.
//   - A Client has one request under way at a time.
//   - A request ends within the time limits for connecting, sending and the answer, and
//     when its context does.
//   - No more of an answer is read than its kind can need.
//   - An answer that does not say where it ends is not believed.
//   - The password is in no error and goes to no other server; without TLS it goes to the
//     loopback alone.
package gin
