//! Three memberships in virtual time, over a network that loses, delays and repeats.

mod chaos;
mod cluster;
mod handover;
mod pair;
mod takeover;
