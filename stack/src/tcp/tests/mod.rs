//! Behaviour of one connection, in virtual time: each file asks one question.

mod pair;

mod accurate_ecn;
mod closing;
mod delayed_ack;
mod ecn;
mod errors;
mod fast_open;
mod gate;
mod hostile;
mod karn;
mod keepalive;
mod kept;
mod landmarks;
mod limits;
mod loss_recovery;
mod low_water;
mod nagle;
mod opening;
mod pacing;
mod path_mtu;
mod paws;
mod rack;
mod record;
mod reset;
mod size;
mod survival;
mod transfer;
mod urgent;
mod user_timeout;
mod window;
mod window_edge;
mod zero_window;
