"""Evaluation worth believing: answers, statistics, leaderboard."""
