"""Recipes: well-known images as declarative lists over the distribution's packages.

A recipe matches its exact names and tags only, so it never answers for an image it does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import todoku
from todoku.api.images import ImageConfig, Reference, parse

DEBIAN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: what its packages and their dependencies contain, then files of our own.

    `without` names packages that are left out together with whatever only they need.  `keep` are the paths
    to take from the packages (empty: everything that `PRUNED` does not drop).  `files` are path → text,
    a mode 0755 is given to texts that begin with `#!`; `links` path → target; `applets` path of a busybox
    whose applets become links beside it.
    """

    packages: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()
    keep: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    directories: tuple[tuple[str, int], ...] = ()
    applets: str = ""
    system: str = ""  # a part of the system image, see `system.py`


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to assemble an image: `layers` bottom first, and the configuration it starts with."""

    names: tuple[str, ...]
    layers: tuple[Layer, ...]
    config: ImageConfig
    about: str = ""
    first: bool = False  # before any registry

    def matches(self, reference: Reference) -> bool:
        return str(reference) in {str(parse(name)) for name in self.names}


def find(reference: Reference, recipes: Sequence[Recipe]) -> Recipe | None:
    return next((recipe for recipe in recipes if recipe.matches(reference)), None)


PRUNED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bug",
    "usr/share/doc-base",
    "usr/share/menu",
    "usr/share/common-licenses",
    "usr/share/bash-completion",
    "usr/share/apport",
    "usr/lib/systemd",
    "lib/systemd",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/aarch64-linux-gnu/gconv",
    "etc/init.d",
    "etc/cron.daily",
    "etc/logrotate.d",
    "etc/apparmor.d",
    "etc/ufw",
    "var/cache",
)

_NOT_NEEDED = frozenset({
    "perl", "perl-base", "perl-modules-5.36", "dpkg", "debconf", "init-system-helpers", "install-info",
    "libaprutil1-dbd-sqlite3", "libaprutil1-dbd-mysql", "libaprutil1-dbd-odbc", "libaprutil1-dbd-pgsql",
    "libaprutil1-ldap", "libldap-2.5-0", "libcurl4", "libxml2", "liblua5.3-0", "adduser", "passwd",
    "lsb-base", "sysvinit-utils", "libjansson4", "iproute2", "mime-support", "debianutils", "libdebconfclient0",
    "gcc-12-base", "nginx-common",
})  # fmt: skip

_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
nginx:x:101:101:nginx user:/nonexistent:/bin/false
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
_GROUP = (
    "root:x:0:\ndaemon:x:1:\nbin:x:2:\ntty:x:5:\nwww-data:x:33:\nnginx:x:101:\nnogroup:x:65534:\n"
)
_NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"
_COMMON_FILES = (
    ("etc/passwd", _PASSWD),
    ("etc/group", _GROUP),
    ("etc/nsswitch.conf", _NSSWITCH),
    ("etc/hosts", ""),
    ("etc/resolv.conf", ""),
    ("etc/hostname", ""),
)
_COMMON_DIRECTORIES = (
    ("tmp", 0o1777),
    ("var/tmp", 0o1777),
    ("var/log", 0o755),
    ("run", 0o755),
    ("proc", 0o555),
    ("sys", 0o555),
    ("dev", 0o755),
    ("root", 0o700),
    ("home", 0o755),
    ("mnt", 0o755),
)

_DEBIAN = Layer(
    packages=("libc6", "libc-bin", "dash", "bash", "coreutils", "grep", "sed", "findutils", "hostname", "netbase", "tar",
              "base-files"),
    without=_NOT_NEEDED,
    files=_COMMON_FILES,
    directories=_COMMON_DIRECTORIES,
)  # fmt: skip

_HTTPD_CONF = """\
ServerRoot "/usr/local/apache2"
ServerName localhost
Listen 80
LoadModule mpm_event_module modules/mod_mpm_event.so
LoadModule authn_core_module modules/mod_authn_core.so
LoadModule authz_core_module modules/mod_authz_core.so
LoadModule authz_host_module modules/mod_authz_host.so
LoadModule access_compat_module modules/mod_access_compat.so
LoadModule reqtimeout_module modules/mod_reqtimeout.so
LoadModule filter_module modules/mod_filter.so
LoadModule mime_module modules/mod_mime.so
LoadModule env_module modules/mod_env.so
LoadModule headers_module modules/mod_headers.so
LoadModule setenvif_module modules/mod_setenvif.so
LoadModule status_module modules/mod_status.so
LoadModule autoindex_module modules/mod_autoindex.so
LoadModule dir_module modules/mod_dir.so
LoadModule alias_module modules/mod_alias.so
LoadModule rewrite_module modules/mod_rewrite.so
User www-data
Group www-data
ServerAdmin you@example.com
<Directory />
    AllowOverride none
    Require all denied
</Directory>
DocumentRoot "/usr/local/apache2/htdocs"
<Directory "/usr/local/apache2/htdocs">
    Options Indexes FollowSymLinks
    AllowOverride None
    Require all granted
</Directory>
DirectoryIndex index.html
<Files ".ht*">
    Require all denied
</Files>
PidFile logs/httpd.pid
ErrorLog /proc/self/fd/2
LogLevel warn
LogFormat "%h %l %u %t \\"%r\\" %>s %b" common
CustomLog /proc/self/fd/1 common
TypesConfig conf/mime.types
"""
_MIME = """\
text/html html htm
text/plain txt
text/css css
application/javascript js
application/json json
image/png png
image/jpeg jpg jpeg
image/gif gif
image/svg+xml svg
application/xml xml
"""
_HTTPD = Layer(
    packages=("apache2-bin",),
    without=_NOT_NEEDED,
    files=(
        ("usr/local/apache2/conf/httpd.conf", _HTTPD_CONF),
        ("usr/local/apache2/conf/mime.types", _MIME),
        ("usr/local/apache2/htdocs/index.html", "<html><body><h1>It works!</h1></body></html>\n"),
        ("usr/local/apache2/bin/httpd",
         "#!/bin/sh\nexec /usr/sbin/apache2 -d /usr/local/apache2 -f conf/httpd.conf \"$@\"\n"),
        ("usr/local/bin/httpd-foreground",
         "#!/bin/sh\nset -e\nrm -f /usr/local/apache2/logs/httpd.pid\nexec httpd -DFOREGROUND \"$@\"\n"),
    ),
    links=(
        ("usr/local/apache2/modules", "/usr/lib/apache2/modules"),
        ("usr/local/apache2/bin/ab", "/usr/bin/ab"),
    ),
    directories=(("usr/local/apache2/logs", 0o755), ("usr/local/apache2/cgi-bin", 0o755), ("var/www", 0o755)),
)  # fmt: skip

_NGINX_CONF = """\
user  nginx;
worker_processes  auto;
error_log  /dev/stderr notice;
pid        /run/nginx.pid;
events {
    worker_connections  1024;
}
http {
    include       /etc/nginx/mime.types;
    default_type  application/octet-stream;
    access_log  /dev/stdout  combined;
    sendfile        on;
    keepalive_timeout  65;
    include /etc/nginx/conf.d/*.conf;
}
"""
_NGINX_SITE = """\
server {
    listen       80;
    listen  [::]:80;
    server_name  localhost;
    location / {
        root   /usr/share/nginx/html;
        index  index.html index.htm;
    }
    error_page   500 502 503 504  /50x.html;
    location = /50x.html {
        root   /usr/share/nginx/html;
    }
}
"""
_NGINX_TYPES = "types {\n" + "".join(
    f"    {line.split()[0]}  {' '.join(line.split()[1:])};\n" for line in _MIME.splitlines()
) + "}\n"  # fmt: skip
_WELCOME = """\
<!DOCTYPE html>
<html>
<head><title>Welcome to nginx!</title></head>
<body><h1>Welcome to nginx!</h1></body>
</html>
"""
_NGINX = Layer(
    packages=("nginx",),
    without=_NOT_NEEDED,
    files=(
        ("etc/nginx/nginx.conf", _NGINX_CONF),
        ("etc/nginx/conf.d/default.conf", _NGINX_SITE),
        ("etc/nginx/mime.types", _NGINX_TYPES),
        ("usr/share/nginx/html/index.html", _WELCOME),
        (
            "usr/share/nginx/html/50x.html",
            "<html><body><h1>An error occurred.</h1></body></html>\n",
        ),
    ),
    directories=(("var/lib/nginx", 0o755), ("var/log/nginx", 0o755)),
)

_BUSYBOX = Layer(
    packages=("busybox-static",),
    without=frozenset({"libc6"}),
    keep=("bin/busybox", "usr/bin/busybox"),
    files=_COMMON_FILES,
    directories=_COMMON_DIRECTORIES,
    applets="bin/busybox",
)

_PAUSE = Layer(
    packages=("catatonit",),
    without=frozenset({"libc6"}),
    keep=("usr/bin/catatonit",),
    links=(("pause", "/usr/bin/catatonit"),),
)

_SYSTEM = (
    Layer(system="python", files=_COMMON_FILES, directories=_COMMON_DIRECTORIES),
    Layer(system="rooms"),
)


def _system(
    names: Sequence[str], arguments: tuple[str, ...], about: str, *, user: str = ""
) -> Recipe:
    config = ImageConfig(
        entrypoint=("/usr/local/bin/python3", *arguments),
        env=(
            f"PATH={DEBIAN_PATH}",
            "PYTHONPATH=/opt/todoku",
            "PYTHONUNBUFFERED=1",
            "PYTHONDONTWRITEBYTECODE=1",
        ),
        working_dir="/",
        user=user,
    )
    return Recipe(tuple(names), _SYSTEM, config, about=about, first=True)


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        ("httpd:latest", "httpd:2.4", "httpd:2"),
        (_DEBIAN, _HTTPD),
        ImageConfig(
            cmd=("httpd-foreground",),
            env=(f"PATH=/usr/local/apache2/bin:{DEBIAN_PATH}", "HTTPD_PREFIX=/usr/local/apache2"),
            working_dir="/usr/local/apache2",
            stop_signal="SIGWINCH",
            exposed_ports=("80/tcp",),
        ),
        about="Apache of the distribution, laid out like the official image",
    ),
    Recipe(
        ("nginx:latest", "nginx:1", "nginx:stable"),
        (_DEBIAN, _NGINX),
        ImageConfig(
            cmd=("nginx", "-g", "daemon off;"),
            env=(f"PATH={DEBIAN_PATH}",),
            stop_signal="SIGQUIT",
            exposed_ports=("80/tcp",),
        ),
        about="nginx of the distribution, laid out like the official image",
    ),
    Recipe(
        ("busybox:latest", "busybox:1", "busybox:1.35", "busybox:stable"),
        (_BUSYBOX,),
        ImageConfig(cmd=("sh",), env=(f"PATH={DEBIAN_PATH}",)),
        about="busybox-static of the distribution",
    ),
    Recipe(
        tuple(f"registry.k8s.io/pause:{tag}" for tag in ("3.9", "3.10", "3.10.1", "latest")),
        (_PAUSE,),
        ImageConfig(entrypoint=("/pause", "-P"), env=(f"PATH={DEBIAN_PATH}",), user="65535:65535"),
        about="catatonit of the distribution, which waits and reaps",
        first=True,
    ),
    _system(
        (f"todoku.internal/system:{todoku.__version__}", "todoku.internal/system:latest"),
        (),
        "this Python and Todoku's rooms for pods",
        user="65534",
    ),
    _system(
        ("quay.io/metallb/controller:v0.14.9",),
        ("-m", "todoku.loadbalancer", "controller"),
        "Todoku's implementation of the MetalLB controller",
    ),
    _system(
        ("quay.io/metallb/speaker:v0.14.9",),
        ("-m", "todoku.loadbalancer", "speaker"),
        "Todoku's implementation of the MetalLB speaker",
    ),
)
"""In no particular order: names do not overlap (a test checks it)."""
