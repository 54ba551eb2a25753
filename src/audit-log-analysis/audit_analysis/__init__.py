"""Events to findings: Sigma rules, and windows that are exact in any order of arrival."""
