//! What is refused before anything is signed.
