//! The interface of the virtual addresses, and its guard.
//!
//! The interface is a TUN device, `gwvip` by default. The controller routes each virtual address that is to be
//! announced there, in a table that nothing but BIRD or FRR reads. The device is not persistent: the kernel removes
//! it with the process, however that ends, and with it all the routes. So routers withdraw the addresses of a forwarder
//! that is gone, whatever else is gone with it.
//!
//! A thread, `announce`, opens the interface once every worker forwards by its first tables, and looks at the node from
//! then on. It sets the interface down, which removes the routes too, while a worker stands still or no port has a
//! link, and up again once all is well. The controller puts the routes back.
//!
//! | what happens | what becomes of the interface |
//! |---|---|
//! | a worker finishes no round for `announce.stall` | down, until it does |
//! | no port has a link | down, until one has |
//! | somebody sets it down | up again with the next look |
//! | somebody removes it | nothing, until a restart: whoever does that wants the addresses withdrawn |
//! | the kernel refuses to set it down | closed, which removes it, and opened again when all is well |
//! | the forwarder stops | closed, before anything else stops |
//!
//! | file | content |
//! |---|---|
//! | `device` | makes the TUN device, and takes what the node sends there |
//! | `guard` | whether the node may announce, as a plain value |
//! | `links` | whether a port has a link, asked by a thread of its own |
//! | `keeper` | the thread's state: one look at the node, and what follows from it |
//! | `thread` | the thread |

mod device;
mod guard;
mod keeper;
mod links;
mod thread;

pub use device::{Error, check};
pub use thread::{Handle, start};
