package event

// RateLimitNear is an operational message of package ratelimit. It is not of
// the vocabulary, which knows only limits that are exceeded.
const RateLimitNear = "rate_limit_near"
