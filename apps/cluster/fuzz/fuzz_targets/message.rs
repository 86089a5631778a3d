//! Any bytes as a message of a host that has the key.
#![no_main]

use bytes::Bytes;
use outlive::replication::message::Message;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Message::decode(Bytes::copy_from_slice(bytes)) {
        let again = Message::decode(message.to_bytes());
        assert_eq!(again.as_ref(), Ok(&message));
    }
});
