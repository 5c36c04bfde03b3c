"""Generation: sampling policies, the cached decoding loop, batching, and the engine over them."""
