//! The test harness of kctx.
