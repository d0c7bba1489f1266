//! What a page of the dashboard gets to see of the gateway, in a real Chromium.

mod answers;
mod browser;
mod dashboard;
mod elsewhere;
mod page;
