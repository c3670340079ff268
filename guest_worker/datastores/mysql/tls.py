"""TLS of MySQL, which makes a certificate for itself when it is started without one."""

from contract.domain.accounts import UserName
from guest_worker.datastores.mariadb import sql
from guest_worker.datastores.mariadb.confinement import OURS
from guest_worker.datastores.mariadb.tls import MariaDBTls
from guest_worker.datastores.mysql.confinement import SYSTEMS

BUILTIN = {"ssl_cert": "server-cert.pem", "ssl_key": "server-key.pem", "ssl_ca": "ca.pem"}  # in its data directory


class MySQLTls(MariaDBTls):
    """Which files there are can change while the server runs."""

    makes_builtin = False
    own = (OURS, *(UserName(name=each, host="localhost") for each in SYSTEMS))
    requirements = (
        "SELECT User, Host, ssl_type FROM mysql.user"
        " WHERE NOT (account_locked = 'Y' AND password_expired = 'Y' AND authentication_string = '')"
    )

    def files(self) -> dict[str, str]:
        """Where they are; TLS older than 1.2 it does not have."""
        return {"ssl_cert": self.server_file, "ssl_key": self.server_file, "ssl_ca": self.ca_file}

    def read_files(self) -> None:
        """Say which, and have them read; where one is wrong, the server goes on with those before."""
        for name, file in (self.files() if self.has_files else BUILTIN).items():
            self._session.rows(f"SET GLOBAL {name} = {sql.text(file)}")
        self._session.rows("ALTER INSTANCE RELOAD TLS")
