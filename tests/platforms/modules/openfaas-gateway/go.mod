module platforms/openfaas-gateway

go 1.24

require github.com/openfaas/faas/gateway v0.0.0-20260702090804-8d803bf9e265
