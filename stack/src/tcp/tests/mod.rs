//! Behaviour of one connection, in virtual time: each file asks one question.

mod pair;

mod closing;
mod gate;
mod opening;
mod record;
mod reset;
mod size;
mod transfer;
