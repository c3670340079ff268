"""The only code that speaks OpenStack; one file per noun."""
