//! Whole stacks that take over from each other, with views made by hand.

mod applications;
mod cluster;
mod continuing;
mod following;
mod invariants;
mod patience;
mod storing;
mod surviving;
mod unhindered;
mod world;
