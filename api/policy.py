"""Who may do what: oslo.policy with Trove's rule names and defaults."""

from pathlib import Path
from typing import Any

from oslo_config import cfg
from oslo_policy import policy

from api.keystone import Identity

ADMIN = "context_is_admin"
OWNER = "rule:admin_or_owner"
ANYBODY = ""
ADMINISTRATOR = "rule:admin"

RULES = {
    OWNER: (
        "instance:create instance:delete instance:force_delete instance:index instance:detail instance:show "
        "instance:update instance:edit instance:restart instance:resize_volume instance:resize_flavor "
        "instance:promote_to_replica_source instance:eject_replica_source instance:backups instance:configuration "
        "instance:guest_log_list instance:module_list instance:module_apply instance:module_remove "
        "instance:operations instance:cancel_operation instance:ssl "
        "instance:extension:root:index instance:extension:root:create instance:extension:root:delete "
        "instance:extension:user:index instance:extension:user:create instance:extension:user:show "
        "instance:extension:user:update instance:extension:user:update_all instance:extension:user:delete "
        "instance:extension:user_access:index instance:extension:user_access:update "
        "instance:extension:user_access:delete instance:extension:database:index instance:extension:database:create "
        "instance:extension:database:show instance:extension:database:delete "
        "backup:create backup:delete backup:index backup:show backup_strategy:create backup_strategy:index "
        "backup_strategy:delete configuration:create configuration:delete configuration:index configuration:show "
        "configuration:instances configuration:update configuration:edit configuration-parameter:index "
        "configuration-parameter:show configuration-parameter:index_by_version configuration-parameter:show_by_version "
        "cluster:create cluster:delete cluster:force_delete cluster:index cluster:show cluster:show_instance "
        "cluster:action cluster:extension:root:index cluster:extension:root:create cluster:extension:root:delete "
        "module:create module:delete module:index module:show module:instances module:update module:reapply "
        "limits:index"
    ),
    ANYBODY: (
        "datastore:index datastore:show datastore:version_index datastore:version_show "
        "datastore:version_show_by_uuid datastore:list_associated_flavors datastore:list_associated_volume_types "
        "flavor:index flavor:show"
    ),
    ADMINISTRATOR: "datastore:delete instance:reset_status instance:rebuild cluster:reset-status backup:index:all_projects",
}


class Policy:
    """Answers whether an identity may do something in a project."""

    def __init__(self, file: Path | None) -> None:
        conf = cfg.ConfigOpts()
        conf(args=[], default_config_files=[])
        self._enforcer = policy.Enforcer(conf, policy_file=str(file) if file else None)
        self._enforcer.register_defaults(
            [
                policy.RuleDefault(ADMIN, "role:admin"),
                policy.RuleDefault("admin", "rule:context_is_admin"),
                policy.RuleDefault("admin_or_owner", "rule:context_is_admin or project_id:%(tenant)s"),
                *(policy.RuleDefault(name, check) for check, names in RULES.items() for name in names.split()),
            ]
        )

    def allows(self, rule: str, identity: Identity, project_id: str) -> bool:
        """Whether the rule lets the identity act on things of a project."""
        credentials: dict[str, Any] = {
            "user_id": identity.user_id,
            "project_id": identity.project_id,
            "roles": list(identity.roles),
            "domain_id": identity.domain_id,
        }
        return bool(self._enforcer.enforce(rule, {"tenant": project_id, "project_id": project_id}, credentials))

    def is_admin(self, identity: Identity) -> bool:
        """Whether the identity is an administrator of the service."""
        return self.allows(ADMIN, identity, identity.project_id)
