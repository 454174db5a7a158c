//! Users as a whole: erasing one. The promise of the record is in [`erasures`].

pub mod erasures;
