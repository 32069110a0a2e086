"""What makes a function run: broker ingress and dispatcher, clock, gateway, host, injector. RabbitMQ is spoken here."""
