//! The controller: it decides which virtual addresses of this node are announced.
//!
//! It knows the forwarder by its control socket and nothing else, and announces by routes in a table of the kernel,
//! which BIRD or FRR export. When it ends, nothing changes: the routes stay as long as the forwarder's interface.
//!
//! Many sources, one manager: each source is a thread that sends events to the manager's channel, and the manager alone
//! decides.
//!
//! | module | what |
//! |---|---|
//! | `announce` | pure: from configuration, observations, orders and time to a decision for each address |
//! | `forwarder` | follows the forwarder by its control socket |
//! | `routes` | keeps the kernel's routes as they are wanted |
//! | `bird` | configures BIRD, and asks it about its sessions |
//! | `check` | checks backends, and what that says of their states |
//! | `manager` | the one thread that decides |
//! | `answer` | answers to requests at the control socket |
//! | `metrics` | the page for Prometheus |
//! | `health` | the pages for health checks |
#![forbid(unsafe_code)]
#![warn(clippy::print_stderr)]

pub mod announce;
pub mod answer;
pub mod bird;
pub mod check;
pub mod forwarder;
pub mod health;
pub mod manager;
pub mod metrics;
pub mod routes;
