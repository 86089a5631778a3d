//! Behaviour of one connection, in virtual time: each file asks one question.

mod pair;

mod gate;
mod record;
mod size;
mod transfer;
