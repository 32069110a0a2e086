"""What makes a function run: gateway, ingress, dispatcher, connector, cron, and the servers of functions.

RabbitMQ is spoken here alone.
"""
