//! Round trips, and vectors worked out by hand from RFC 4506.
