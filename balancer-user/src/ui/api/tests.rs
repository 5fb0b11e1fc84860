//! Requests as the pages send them, and as they must not.
