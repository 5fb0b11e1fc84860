//! The web interface in a real browser, and its API.

use fantoccini as _;
use tokio as _;
