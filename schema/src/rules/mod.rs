//! What a type cannot say: rules between fields, between components, and between files.
//!
//! Each rule reports at the value that has to change, with what to write instead.

pub(crate) mod component;
pub(crate) mod container;
pub(crate) mod delivery;
pub(crate) mod environment;
pub(crate) mod links;
