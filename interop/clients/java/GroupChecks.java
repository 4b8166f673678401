import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.InvalidConfigurationException;

/** What Java's AdminClient asks of groups without members. */
final class GroupChecks {
    private final AdminChecks all;
    private final Admin admin;
    private final String group;
    private final TopicPartition first;
    private final TopicPartition second;

    GroupChecks(AdminChecks all, Admin admin, String topic) {
        this.all = all;
        this.admin = admin;
        this.group = topic + "-group";
        this.first = new TopicPartition(topic, 0);
        this.second = new TopicPartition(topic, 1);
    }

    void run() {
        offsets();
        listings();
        configs();
        deletion();
    }

    private Map<TopicPartition, OffsetAndMetadata> committed() throws Exception {
        return admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
    }

    private void offsets() {
        all.check("offsets of a group that is not there", () -> AdminChecks.equal(Map.of(), committed()));
        all.check("alter and list offsets of a group", () -> {
            var offsets = Map.of(first, new OffsetAndMetadata(3), second, new OffsetAndMetadata(0, "said"));
            admin.alterConsumerGroupOffsets(group, offsets).all().get();
            AdminChecks.equal(offsets, committed());
        });
        all.check("delete offsets of a group", () -> {
            admin.deleteConsumerGroupOffsets(group, Set.of(second)).all().get();
            AdminChecks.equal(Set.of(first), committed().keySet());
        });
    }

    private Set<String> listed(ListGroupsOptions options) throws Exception {
        return admin.listGroups(options).all().get().stream().map(GroupListing::groupId).collect(Collectors.toSet());
    }

    private void listings() {
        all.check("list groups", () -> {
            AdminChecks.truth(listed(new ListGroupsOptions()).contains(group), "the group is not listed");
            AdminChecks.truth(listed(new ListGroupsOptions().inGroupStates(Set.of(GroupState.EMPTY))).contains(group), "it is not listed as empty");
            AdminChecks.truth(!listed(new ListGroupsOptions().inGroupStates(Set.of(GroupState.STABLE))).contains(group), "it is listed as stable");
        });
        all.check("describe group", () -> {
            var d = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            AdminChecks.equal(GroupState.EMPTY, d.groupState());
            AdminChecks.equal(0, d.members().size());
        });
        all.check("describe a group that is not there", () -> AdminChecks.fails(GroupIdNotFoundException.class,
            admin.describeConsumerGroups(List.of(group + "-none")).all()));
    }

    private void configs() {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.GROUP, group);
        var name = "consumer.session.timeout.ms";
        all.check("group configs: alter and describe", () -> {
            alter(resource, name, "50000");
            AdminChecks.eventually(() -> {
                ConfigEntry e = admin.describeConfigs(List.of(resource)).all().get().get(resource).get(name);
                AdminChecks.equal("50000", e.value());
                AdminChecks.equal(ConfigEntry.ConfigSource.DYNAMIC_GROUP_CONFIG, e.source());
            });
        });
        all.check("group configs: list", () -> AdminChecks.eventually(() -> {
            var groups = admin.listConfigResources(Set.of(ConfigResource.Type.GROUP), new ListConfigResourcesOptions()).all().get();
            AdminChecks.truth(groups.contains(resource), "not among " + groups);
        }));
        all.check("group configs: unknown name", () -> {
            try {
                alter(resource, "consumer.session.timeout", "1");
            } catch (java.util.concurrent.ExecutionException e) {
                AdminChecks.truth(e.getCause() instanceof InvalidConfigurationException, "failed with " + e.getCause());
                return;
            }
            throw new Exception("it was taken");
        });
    }

    private void alter(ConfigResource resource, String name, String value) throws Exception {
        var op = new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(op))).all().get();
    }

    private void deletion() {
        all.check("delete group", () -> {
            admin.deleteConsumerGroups(List.of(group)).all().get();
            AdminChecks.equal(Map.of(), committed());
            AdminChecks.truth(!listed(new ListGroupsOptions()).contains(group), "it is still listed");
        });
        all.check("delete a group that is not there", () -> AdminChecks.fails(GroupIdNotFoundException.class,
            admin.deleteConsumerGroups(List.of(group)).all()));
    }
}
