//! Answers the requests of clients at the control sockets.
//!
//! What clients read is the manager's last view. An order is answered when it is decided, stored, and the kernel has
//! its routes; if one of the latter two takes too long, the answer says so, and the order is in force all the same.
//!
//! | file | what |
//! |---|---|
//! | `requests.rs` | the requests, and their answers |
//! | `audit.rs` | an event for each request that changes something, or is to |
//! | `words.rs` | what a change was of, in a few words |
//! | `notes.rs` | why addresses are kept from a peer |

mod audit;
mod notes;
mod requests;
mod words;

pub use requests::Answers;
