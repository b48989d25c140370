//! The Kubernetes target.

mod fieldset;
mod object;
mod owners;

pub use fieldset::FieldSet;
pub use object::{Gvk, Object};
pub use owners::{Hand, MANAGER, Other, Owners};
