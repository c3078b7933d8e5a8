//! The process driver.
