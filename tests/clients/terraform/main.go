// Command terraform has the code of Terraform's OpenStack provider, unmodified, plan, apply, refresh and destroy what
// a plan of one instance names, as Terraform has it do. It prints each step that went well.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/hashicorp/go-cty/cty"
	"github.com/hashicorp/go-cty/cty/msgpack"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hashicorp/terraform-plugin-sdk/v2/terraform"
	"github.com/terraform-provider-openstack/terraform-provider-openstack/v3/openstack"
)

var ctx = context.Background()

// resource is one block of a plan, and what Terraform would keep of it in its state file.
type resource struct {
	kind     *schema.Resource
	meta     any
	settings map[string]any
	state    *terraform.InstanceState
}

func check(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func checkAll(what string, found diag.Diagnostics) {
	for _, each := range found {
		if each.Severity == diag.Error {
			check(what, fmt.Errorf("%s %s", each.Summary, each.Detail))
		}
	}
}

func (r *resource) config() *terraform.ResourceConfig {
	return terraform.NewResourceConfigRaw(r.settings)
}

func (r *resource) plan(what string) *terraform.InstanceDiff {
	checkAll(what, r.kind.Validate(r.config()))
	diff, err := r.kind.Diff(ctx, r.state, r.config(), r.meta)
	check(what, err)
	return diff
}

// apply makes or changes it, reads it again, and requires that nothing is left to do.
func (r *resource) apply(what string) {
	state, found := r.kind.Apply(ctx, r.state, r.plan(what), r.meta)
	checkAll(what, found)
	r.state = state
	r.refresh(what)
	if diff := r.plan(what); diff != nil && !diff.Empty() {
		check(what, fmt.Errorf("still to do: %v", diff))
	}
	fmt.Println(what)
}

func (r *resource) refresh(what string) {
	state, found := r.kind.RefreshWithoutUpgrade(ctx, r.state, r.meta)
	checkAll(what, found)
	r.state = state
}

// destroy deletes it, and requires that reading it finds nothing.
func (r *resource) destroy(what string) {
	before := r.state.DeepCopy()
	_, found := r.kind.Apply(ctx, r.state, &terraform.InstanceDiff{Destroy: true}, r.meta)
	checkAll(what, found)
	r.state = before
	r.refresh(what)
	if r.state != nil && r.state.ID != "" {
		check(what, fmt.Errorf("%s is still there", r.state.ID))
	}
	fmt.Println(what)
}

// configure says nothing of the provider's settings, as Terraform does: all of it comes from the environment.
func configure(provider *schema.Provider) {
	kind := schema.InternalMap(provider.Schema).CoreConfigSchema().ImpliedType()
	unset := map[string]cty.Value{}
	for name, each := range kind.AttributeTypes() {
		unset[name] = cty.NullVal(each)
	}
	config, err := msgpack.Marshal(cty.ObjectVal(unset), kind)
	check("configure", err)
	request := &tfprotov5.ConfigureProviderRequest{Config: &tfprotov5.DynamicValue{MsgPack: config}}
	answer, err := schema.NewGRPCProviderServer(provider).ConfigureProvider(ctx, request)
	check("configure", err)
	for _, each := range answer.Diagnostics {
		if each.Severity == tfprotov5.DiagnosticSeverityError {
			check("configure", fmt.Errorf("%s %s", each.Summary, each.Detail))
		}
	}
}

func main() {
	log.SetOutput(io.Discard) // the provider writes what it sends
	datastore := []any{map[string]any{"type": os.Args[1], "version": os.Args[2]}}
	setting := map[string]any{"name": os.Args[3], "value": os.Args[4]}
	provider := openstack.Provider()
	configure(provider)
	of := func(kind string, settings map[string]any) *resource {
		return &resource{kind: provider.ResourcesMap[kind], meta: provider.Meta(), settings: settings}
	}

	group := of("openstack_db_configuration_v1", map[string]any{
		"name": "terraform", "description": "of a plan", "datastore": datastore, "configuration": []any{setting},
	})
	group.apply("configuration")
	instance := of("openstack_db_instance_v1", map[string]any{
		"name": "terraform", "flavor_id": "1", "size": 1, "volume_type": os.Args[5], "datastore": datastore,
		"database": []any{map[string]any{"name": "first"}},
		"user":     []any{map[string]any{"name": "amy", "password": "secret", "databases": []any{"first"}}},
	})
	instance.apply("instance")
	instance.settings["configuration_id"] = group.state.ID
	instance.apply("attach")
	database := of("openstack_db_database_v1", map[string]any{"name": "second", "instance_id": instance.state.ID})
	database.apply("database")
	user := of("openstack_db_user_v1", map[string]any{
		"name": "bob", "password": "secret", "instance_id": instance.state.ID, "databases": []any{"second"},
	})
	user.apply("user")

	user.destroy("no-user")
	database.destroy("no-database")
	delete(instance.settings, "configuration_id")
	instance.apply("detach")
	instance.destroy("no-instance")
	group.destroy("no-configuration")
}
