"""Composes the parts that decide about requests: authentication, authorization, admission, allocators, streaming."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from todoku.apiserver import (
    admission,
    authorization,
    conversion,
    default_roles,
    policy,
    proxy,
    streaming,
    token_reviews,
    wellknown,
)
from todoku.apiserver.aggregation import Aggregator
from todoku.apiserver.allocators.addresses import Addresses
from todoku.apiserver.allocators.ports import Ports
from todoku.apiserver.allocators.repair import repair
from todoku.apiserver.allocators.services import ServiceAddresses
from todoku.apiserver.authentication import (
    Authenticated,
    CertificateAuthenticator,
    FrontProxyAuthenticator,
)
from todoku.apiserver.authorization import AlwaysAllow, Chain
from todoku.apiserver.config import Authenticator, Authorizer, Components, Config, Objects
from todoku.apiserver.identity import IdentityLease
from todoku.apiserver.kubelets import Kubelets
from todoku.apiserver.node_authorizer import NodeAuthorizer
from todoku.apiserver.outbound import Outbound
from todoku.apiserver.rbac import RbacAuthorizer, Rule
from todoku.apiserver.tokens import ServiceAccountTokens, TokenAuthenticator


def standard(config: Config, objects: Objects) -> Components:
    """The parts of a real control plane, in the order upstream runs them."""
    tokens = _tokens(config, objects)
    bearers = TokenAuthenticator(tokens, config.tokens)
    nodes = NodeAuthorizer(objects, [Rule.of(rule) for rule in default_roles.node_rules()])
    rbac = RbacAuthorizer(objects)
    chain: Authorizer = AlwaysAllow()
    plugins = admission.builtin(objects)
    if config.authorization:
        chain = Chain([nodes, rbac])
        plugins.insert(0, admission.RbacEscalation(chain, rbac))
    plugins.append(admission.PolicyParams(objects, chain))
    plugins.append(admission.CertificateRequests(chain, config.clock))
    plugins.append(admission.DeviceAccess(objects, chain, config.clock))
    outbound = Outbound(config, objects)
    figures = admission.Figures()
    plugins += admission.dynamic(objects, outbound, chain, figures)
    plugins.append(admission.ResourceQuota(objects))
    kubelets = Kubelets(config, objects)
    forwarder = proxy.Proxy(objects, kubelets)
    aggregator = Aggregator(objects, outbound, config.clock)
    addresses = Addresses(objects, config.service_cidrs)
    ports = Ports(*config.node_port_range)

    identity = IdentityLease(objects, os.uname().nodename, config.clock)

    async def start() -> None:
        nodes.start()
        await repair(objects, addresses, ports, config.clock)
        await wellknown.publish(config, objects)
        if config.advertise_address:
            await identity.start()
        aggregator.start()

    async def stop() -> None:
        nodes.stop()
        await identity.stop()
        await aggregator.stop()
        await kubelets.close()
        await forwarder.close()
        await outbound.close()

    documents = {}
    if tokens is not None:
        documents = {
            "/.well-known/openid-configuration": tokens.discovery,
            "/openid/v1/jwks": tokens.jwks,
        }
    return Components(
        authenticators=[Authenticated(one) for one in _authenticators(config, bearers)],
        authorizer=chain if config.authorization else None,
        admission=plugins,
        services=ServiceAddresses(addresses, ports),
        handlers={
            **authorization.handlers(chain),
            **token_reviews.handlers(objects, tokens, bearers),
        },
        connectors={**streaming.connectors(kubelets), **proxy.connectors(forwarder)},
        converter=conversion.webhook(outbound),
        documents=documents,
        aggregator=aggregator,
        metrics=figures.shown(),
        bootstrap=[*policy.bootstrap(), *wellknown.bootstrap(config)],
        start=start,
        stop=stop,
        upkeep=partial(wellknown.keep, config, objects),
    )


def _authenticators(config: Config, bearers: TokenAuthenticator) -> list[Authenticator]:
    found: list[Authenticator] = []
    if config.requestheader_ca_file:
        pem = Path(config.requestheader_ca_file).read_bytes()
        found.append(FrontProxyAuthenticator(pem, config.requestheader_allowed_names))
    if config.client_ca_file:
        found.append(CertificateAuthenticator(Path(config.client_ca_file).read_bytes()))
    found.append(bearers)
    return found


def _tokens(config: Config, objects: Objects) -> ServiceAccountTokens | None:
    if not config.service_account_key_file and not config.service_account_public_file:
        return None
    private, public = config.service_account_key_file, config.service_account_public_file
    return ServiceAccountTokens(
        objects=objects,
        private_pem=Path(private).read_bytes() if private else b"",
        public_pems=[Path(public).read_bytes()] if public else [],
        issuer=config.service_account_issuer,
        audiences=config.api_audiences,
        clock=config.clock,
    )
