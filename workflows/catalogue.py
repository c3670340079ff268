"""All runbooks: what the workflow worker registers."""

from collections.abc import Sequence

from workflows.backup import DeleteBackup
from workflows.configuration import ChangeConfiguration
from workflows.instance.back_up import BackUpInstance
from workflows.instance.change_access import ChangeAccess
from workflows.instance.change_tls import ChangeTls
from workflows.instance.create import CreateInstance
from workflows.instance.delete import DeleteInstance
from workflows.instance.migrate import MigrateServer
from workflows.instance.power import RebootServer, StartInstance, StopInstance
from workflows.instance.rebuild import RebuildInstance
from workflows.instance.reconfigure import ReconfigureInstance
from workflows.instance.resize_flavor import ResizeFlavor
from workflows.instance.resize_volume import ResizeVolume
from workflows.instance.restart import RestartInstance
from workflows.instance.root import DisableRoot, EnableRoot
from workflows.instance.settle import SettleInstance
from workflows.instance.upgrade import UpgradeInstance
from workflows.instance.watch import WatchInstance
from workflows.sweep import Sweep

RUNBOOKS: Sequence[type] = (
    CreateInstance,
    DeleteInstance,
    RestartInstance,
    ResizeFlavor,
    ChangeAccess,
    ChangeTls,
    StopInstance,
    StartInstance,
    RebootServer,
    MigrateServer,
    ReconfigureInstance,
    ResizeVolume,
    RebuildInstance,
    UpgradeInstance,
    BackUpInstance,
    SettleInstance,
    WatchInstance,
    EnableRoot,
    DisableRoot,
    ChangeConfiguration,
    DeleteBackup,
    Sweep,
)
