"""The inference log: requests and answers, durable before they are acknowledged, and windows of them."""
