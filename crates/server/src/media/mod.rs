//! The media plane: sockets and worker threads.
