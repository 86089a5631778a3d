//! HTTP/1.1 server for a folder of media.
