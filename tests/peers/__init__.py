"""The same order on other engines for durable workflows, to be measured beside ours. Nothing else imports this."""
