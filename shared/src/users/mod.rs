//! Users as a whole: erasing one. The promise of the record is in [`erasures`], and what a call does with it in [`erasing`].

pub mod erasing;
pub mod erasures;
