//! The types that [`crate::publish`] is built on. A model of it has others.

pub(crate) use std::sync::Arc;

pub(crate) use arc_swap::ArcSwap;
