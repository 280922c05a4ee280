//! Clocks that are simulated, so that the truth is known.

mod mesh;
mod pair;
mod random;
mod reference;
mod scale;
mod simulation;
mod table;
