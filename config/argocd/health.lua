-- Health of DevCluster, NodePool, ClusterUpgrade, DevMachine, HypervisorHost and KubernetesRelease for Argo CD. What is said of
-- another generation counts as nothing; Stalled is a failure, as for kstatus; what was Ready, or cannot be seen, is Degraded.
-- Succeeded is to a ClusterUpgrade what Ready is to the others.
local hs = {status = "Progressing", message = "the operator has not looked at it yet"}
if obj.status == nil or obj.status.conditions == nil then
  return hs
end
if obj.status.observedGeneration ~= nil and obj.status.observedGeneration ~= obj.metadata.generation then
  hs.message = "the operator has not looked at the present spec yet"
  return hs
end
local found = {}
for _, condition in ipairs(obj.status.conditions) do
  found[condition.type] = condition
end
local ready, progressing, stalled = found.Ready or found.Succeeded, found.Progressing, found.Stalled
local drift = found.VersionDrift
if ready == nil then
  return hs
end
if ready.message ~= nil and ready.message ~= "" then
  hs.message = ready.reason .. ": " .. ready.message
else
  hs.message = ready.reason
end
if stalled ~= nil and stalled.status == "True" then
  hs.status = "Degraded"
elseif ready.status == "True" and drift ~= nil and drift.status == "True" then
  -- A cluster that is well and runs another version than it is asked for.
  hs.message = drift.reason .. ": " .. drift.message
  if drift.reason == "UpgradeInProgress" then
    hs.status = "Progressing"
  elseif drift.reason == "NewerThanAsked" then
    hs.status = "Healthy"
  else
    hs.status = "Degraded"
  end
elseif ready.status == "True" then
  hs.status = "Healthy"
elseif ready.reason == "Paused" then
  hs.status = "Suspended"
elseif progressing ~= nil and progressing.status == "True" then
  hs.status = "Progressing"
elseif ready.status == "Unknown" and ready.reason == "NotObserved" then
  hs.status = "Progressing"
else
  -- It was as asked for and is not now, or it could not be seen.
  hs.status = "Degraded"
end
return hs
