"""What makes a function run: ingress, dispatcher, clock, gateway, host, injector. RabbitMQ is spoken here alone."""
