"""Jobs for one user's GPU host or cluster account: a queue that places by what was measured."""
